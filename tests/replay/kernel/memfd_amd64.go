package kernel

const sysMemfdCreate = 319
