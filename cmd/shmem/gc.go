package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// gcCmd removes garbage by shmem.Reclaim, or says what that would remove.
type gcCmd struct {
	DryRun bool `short:"n" name:"dry-run" help:"Say what would be removed, and why the rest not; change nothing."`
	JSON   bool `name:"json" help:"JSON."`
}

func (*gcCmd) Help() string {
	return `Garbage is a segment whose owner has died and that no process is attached to, and a
file whose program died while making it. gc removes only this user's. The kernel says which
processes are attached, by locks that vanish with their process: pids do not matter, and there is no
grace period. Values are not dropped (T.Drop does not run): that of a dead process may be half
changed. Unread messages of a queue are lost; gc says how many. --dry-run makes the same
decisions, and changes nothing.`
}

// A verdict says what gc does with a segment, and why.
type verdict struct {
	Name   string  `json:"name"`
	Taken  bool    `json:"taken"` // removed, or to be removed
	Memory num     `json:"memory"`
	Lost   count64 `json:"lost"` // unread messages that are lost with it
	Why    string  `json:"why"`
	failed bool
}

func (c *gcCmd) Run(e *env) error {
	collect := e.reclaim
	if c.DryRun {
		collect = e.judgeAll
	}
	all, err := collect()
	if err != nil {
		return err
	}
	if c.JSON {
		if err := e.json(all); err != nil {
			return err
		}
	} else {
		verb := "removed"
		if c.DryRun {
			verb = "would be removed"
		}
		e.showVerdicts(all, verb)
	}
	for _, v := range all {
		if v.failed {
			return exitError(exitFailed)
		}
	}
	return nil
}

// reclaim removes garbage. It returns a verdict for each segment that was removed, or could not be.
func (e *env) reclaim() ([]verdict, error) {
	all := []verdict{}
	before, err := e.judgeAll() // what is lost can be seen only before
	if err != nil {
		return nil, err
	}
	promised := map[string]verdict{}
	for _, v := range before {
		if v.Taken {
			promised[v.Name] = v
		}
	}
	for info, err := range shmem.Reclaim(e.dir) {
		if err != nil && info.Name == "" {
			return nil, err
		}
		v := verdict{Name: info.Name, Taken: err == nil, Memory: num(info.InUse),
			Why: whyGarbage(info)}
		if p, ok := promised[v.Name]; ok {
			v.Lost, v.Why = p.Lost, p.Why
		}
		if err != nil {
			v.Why, v.failed = reason(err), true
		}
		all = append(all, v)
	}
	return append(all, e.unread()...), nil
}

// unread returns a verdict for each queue that stays because it has unread messages.
func (e *env) unread() (all []verdict) {
	for info, err := range shmem.List(e.dir) {
		if err == nil && info.State == shmem.Idle && info.Unread > 0 {
			all = append(all, judge(row{Info: info}))
		}
	}
	return all
}

// judgeAll returns a verdict for every segment, and changes nothing.
func (e *env) judgeAll() ([]verdict, error) {
	rows, err := e.rows(nil)
	if err != nil {
		return nil, err
	}
	all := []verdict{}
	for _, r := range rows {
		if !isUnfinished(r.Name) { // see unfinished
			all = append(all, judge(r))
		}
	}
	return append(all, e.unfinished()...), nil
}

// showVerdicts prints a table, and a line with the sum. verb says what was done.
func (e *env) showVerdicts(all []verdict, verb string) {
	var rows [][]string
	n, memory := 0, int64(0)
	for _, v := range all {
		what := "leave"
		switch {
		case v.failed:
			what = "failed"
		case v.Taken:
			what, n, memory = "remove", n+1, memory+int64(v.Memory)
		}
		rows = append(rows, []string{v.Name, what, size(int64(v.Memory)), v.Why})
	}
	if len(rows) > 0 {
		e.table([]column{
			{head: "NAME", least: 12, paint: painted(e.style.bold)},
			{head: "DO", paint: func(i int, s string) string {
				switch {
				case all[i].failed:
					return e.style.red(s)
				case all[i].Taken:
					return e.style.green(s)
				}
				return e.style.faint(s)
			}},
			{head: "MEM", right: true}, {head: "WHY", least: 20, fold: true},
		}, rows)
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d %s, %s of memory", n, verb,
		bytesText(memory))))
}

// unfinishedPrefix begins the temporary names of segments that are being made where the file system
// has no nameless files.
const unfinishedPrefix = ".shmem-"

// isUnfinished reports whether a name is such a temporary one, as the library makes it. Others that
// begin like that are files of other programs.
func isUnfinished(name string) bool {
	id, ok := strings.CutPrefix(name, unfinishedPrefix)
	return ok && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

const whyUnfinished = "its program died while making it"

func whyGarbage(info shmem.Info) string {
	if isUnfinished(info.Name) {
		return whyUnfinished
	}
	why := "owner dead, no process attached"
	if info.Lifetime == shmem.Shared {
		why = "no process attached"
	}
	return fmt.Sprintf("%s; made by %s %s ago",
		why, clean(info.Program), since(info.Created))
}

// judge says what gc would do with a segment, by the rules of shmem.Reclaim.
func judge(r row) verdict {
	v := verdict{Name: r.Name, Memory: num(r.InUse)}
	switch {
	case r.Name != "" && !couldBeSegment(r.Name) && !r.unlinked:
		v.Why = "no segment can have that name: it is another program's; rm(1) removes it"
	case r.err != nil:
		v.Why = "cannot be read: " + reason(r.err)
	case r.unlinked:
		v.Why = "has no name; its memory is freed with the last process attached"
	case r.State == shmem.Garbage && !isOwn(r.Info):
		v.Why = fmt.Sprintf("garbage, but of user %s; run gc as that user", userName(r.UID))
	case r.State == shmem.Garbage:
		v.Taken, v.Why, v.Lost = true, whyGarbage(r.Info), r.unread
		if v.Lost > 0 {
			v.Why += "; " + lostText(v.Lost)
		}
	case r.State == shmem.Live && r.Owner != nil:
		v.Why = "its owner lives: " + process(*r.Owner, clean(r.Program))
	case r.State == shmem.Live:
		v.Why = fmt.Sprintf("%v, and %d attached", r.Lifetime, max(len(r.Peers), 1))
	case r.State == shmem.Orphaned:
		v.Why = fmt.Sprintf("its owner has died, but %d still attached", max(len(r.Peers), 1))
	case r.State == shmem.Idle && r.Unread > 0 && r.Lifetime == shmem.Shared:
		v.Why = fmt.Sprintf("%d unread messages; left (shmem rm %s removes it)", r.Unread, r.Name)
	case r.State == shmem.Idle:
		v.Why = "kept on purpose (Leak, shmem.Kept); shmem rm removes it"
	case r.State == shmem.Foreign:
		v.Why = "another program's file"
	case r.State == shmem.Copied, r.State == shmem.OtherVersion:
		v.Why = reason(r.Err)
	case r.State == shmem.Damaged:
		v.Why = "damaged: " + reason(r.Err) + "; shmem rm removes it"
	}
	return v
}

// unfinished returns the files that are being made, or that a process died over while making them.
// The maker holds the gate until the file gets its name.
func (e *env) unfinished() (all []verdict) {
	files, _ := os.ReadDir(e.dir)
	for _, f := range files {
		if isUnfinished(f.Name()) {
			all = append(all, judgeUnfinished(filepath.Join(e.dir, f.Name()), f.Name()))
		}
	}
	return all
}

// judgeUnfinished says what gc would do with a file of a temporary name, by the rules of
// shmem.Reclaim.
func judgeUnfinished(path, name string) verdict {
	v := verdict{Name: name, Why: "it cannot be read"}
	st, err := sys.Lstat(path)
	switch {
	case err != nil:
		return v
	case st.Mode.IsDir():
		v.Why = "a directory"
		return v
	case int(st.UID) != os.Geteuid():
		v.Why = fmt.Sprintf("of user %s; run gc as that user", userName(int(st.UID)))
		return v
	case !st.Mode.IsRegular(): // a Remove gave it that name
		v.Taken, v.Why = true, "its program died while removing it"
		return v
	}
	v.Memory = num(st.Blocks * 512)
	fd, err := sys.Open(path, true)
	if err != nil {
		return v
	}
	defer fd.Close()
	const lockBytes = sys.SlotByte - sys.GateByte + format.MaxSlots // the gate, and every slot
	if held, err := fd.Held(sys.GateByte, lockBytes); err != nil || held {
		v.Why = "it is being made"
		return v
	}
	v.Taken, v.Why = true, whyUnfinished
	return v
}
