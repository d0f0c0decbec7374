package kernel

const sysMemfdCreate = 279
