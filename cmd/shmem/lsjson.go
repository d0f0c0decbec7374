package main

import (
	"cmp"
	"fmt"

	"github.com/shmembox/shmem"
)

// The JSON of ls, which stat has too. Scripts depend on the keys: they may be added to, but neither
// renamed nor removed.

type jsonPeer struct {
	Slot      int     `json:"slot"`
	PID       int     `json:"pid"`
	Namespace count64 `json:"pidNamespace"`
	Here      bool    `json:"pidIsOurs"` // the pid means something in this PID namespace
	Process   string  `json:"process,omitempty"`
	Since     moment  `json:"since"`
	ReadOnly  bool    `json:"readOnly,omitempty"`
	Passive   bool    `json:"passive,omitempty"` // it has no part in the segment's life
}

type jsonUser struct {
	PID     int    `json:"pid"`
	Program string `json:"program,omitempty"`
	Mapped  bool   `json:"mapped"` // else it has it open
}

func jsonUsers(ps *procs, users []user) (all []jsonUser) {
	for _, u := range users {
		j := jsonUser{PID: u.pid, Mapped: u.mapped}
		if p := ps.get(u.pid); p != nil {
			j.Program = p.name
		}
		all = append(all, j)
	}
	return all
}

type jsonInfo struct {
	Name        string     `json:"name"`
	Path        string     `json:"path"`
	State       string     `json:"state"`
	Unlinked    bool       `json:"unlinked,omitempty"`
	Container   string     `json:"container,omitempty"` // see --containers
	Users       []jsonUser `json:"users,omitempty"`     // of a file of another program
	Error       string     `json:"error,omitempty"`
	Type        string     `json:"type,omitempty"`
	Item        string     `json:"item,omitempty"` // type of the messages of a queue or topic
	Ended       bool       `json:"ended,omitempty"`
	Unread      count64    `json:"unread,omitempty"` // messages of a queue
	Fingerprint string     `json:"fingerprint,omitempty"`
	Size        num        `json:"size"`
	File        num        `json:"file"`
	Memory      num        `json:"memory"`
	Mode        string     `json:"mode"`
	UID         int        `json:"uid"`
	Created     moment     `json:"created"`
	Program     string     `json:"program,omitempty"`
	Slots       int        `json:"slots,omitempty"`
	Owner       *jsonPeer  `json:"owner,omitempty"`
	Peers       []jsonPeer `json:"attached"`
	Readers     bool       `json:"readers"`
}

func (r row) json() jsonInfo {
	j := jsonInfo{
		Name: r.Name, Path: r.Path, State: r.state(), Unlinked: r.unlinked,
		Type: r.Type, Item: r.item, Ended: r.ended, Unread: r.unread,
		Size: num(r.Size), File: num(r.File),
		Memory: num(r.InUse),
		Mode:   r.Mode.String(), UID: r.UID, Created: moment(r.Created), Program: r.Program,
		Slots: r.Slots, Readers: r.Readers, Peers: []jsonPeer{},
	}
	j.Container, j.Users = r.place, jsonUsers(r.ps, r.users)
	if r.unlinked { // state says only that
		j.State = r.State.String()
	}
	if r.Fingerprint != 0 {
		j.Fingerprint = fmt.Sprintf("%016x", r.Fingerprint)
	}
	if err := cmp.Or(r.err, r.Err); err != nil {
		j.Error = err.Error()
	}
	for _, p := range r.Peers {
		j.Peers = append(j.Peers, jsonOf(p))
	}
	if r.Owner != nil {
		p := jsonOf(*r.Owner)
		j.Owner = &p
	}
	return j
}

func jsonOf(p shmem.Peer) jsonPeer {
	j := jsonPeer{Slot: p.Slot, PID: p.PID, Namespace: count64(p.PIDNamespace),
		Here: p.PIDNamespace == ownNamespace(), Since: moment(p.Since), ReadOnly: p.ReadOnly,
		Passive: p.Passive}
	if j.Here {
		j.Process = comm(p.PID, "")
	}
	return j
}
