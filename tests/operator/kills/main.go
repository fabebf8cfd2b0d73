// An operator that is killed after its n-th write, for every n, ends where one ends that was left alone.
//
// The operator runs as a process in the node's network, under the ServiceAccount of its chart, and everything that it says goes through here:
// the Kubernetes API, Kafka's protocol and the management endpoint. The n-th write is carried out by whoever was asked; the operator is killed
// before it sees the answer. Then it is started again and left alone, and all objects of the namespace and the topics are compared with those of
// a run without a kill. Writes are those that were accepted; leases, events and reviews of tokens do not count.
//
//	kills PKI-DIRECTORY CHART OPERATOR KENNET PHASE...     phases are create, change and reset; each needs those before it
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Two cores carry no more brokers that start at the same time.
const workers = 4

// A run that is still killed after so many writes does not come to an end.
const writesMax = 80

type world struct {
	api      *api
	rbac     string
	operator string
	kennet   string
	phases   []string
}

func main() {
	if len(os.Args) < 6 {
		fmt.Fprintln(os.Stderr, "kills: see the head of main.go for the arguments")
		os.Exit(2)
	}
	w, err := newWorld(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	if err == nil {
		err = w.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kills:", err)
		os.Exit(1)
	}
}

// run tells for each phase after how many writes it was killed, and where that made a difference.
func (w *world) run() error {
	reference, counts, err := w.alone()
	if err != nil {
		return fmt.Errorf("the run that is not killed: %w", err)
	}
	var next atomic.Int64
	var found found
	killed, open := make([]atomic.Int64, len(w.phases)), make([]atomic.Bool, len(w.phases))
	for i := range open {
		open[i].Store(true)
	}
	// phases to go through: up to the last one that does not come to its end before the kill
	left := func() int {
		for i := len(open); i > 0; i-- {
			if open[i-1].Load() {
				return i
			}
		}
		return 0
	}
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for phases := left(); phases > 0; phases = left() {
				n := int(next.Add(1))
				problems, hits := w.killedAfter(worker, n, reference[:phases])
				if n > writesMax {
					problems, hits = append(problems, problem{fmt.Sprintf("still killed after %d writes", writesMax), nil}), make([]bool, phases)
				}
				for i, hit := range hits {
					if hit {
						killed[i].Add(1)
					} else {
						open[i].Store(false)
					}
				}
				found.add(problems)
			}
		})
	}
	all.Wait()
	found.print()
	for i, phase := range w.phases {
		fmt.Printf("%s: %d writes when left alone, killed after each of %d\n", phase, counts[i], killed[i].Load())
		if killed[i].Load() == 0 {
			return fmt.Errorf("%s: nothing was killed", phase)
		}
	}
	return found.summary()
}

// problem is a phase of a run that ended differently: after which write of which phase, and in which lines.
type problem struct {
	where string
	lines []string
}

type found struct {
	mutex    sync.Mutex
	problems []problem
}

func (f *found) add(problems []problem) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.problems = append(f.problems, problems...)
}

// print shows the problems, the first one last: what is shown of a long output is its end.
func (f *found) print() {
	const shown = 12
	for i := len(f.problems) - 1; i >= 0; i-- {
		one := f.problems[i]
		fmt.Println(one.where + ":")
		for i, line := range one.lines {
			if i == shown {
				fmt.Printf("  and %d more lines\n", len(one.lines)-shown)
				break
			}
			fmt.Println(" ", line)
		}
	}
}

// summary is one line, which has the first problem in it: the line that tells of a failed step has no room for more.
func (f *found) summary() error {
	if len(f.problems) == 0 {
		return nil
	}
	first := f.problems[0]
	return fmt.Errorf("%d differences, first %s: %s", len(f.problems), first.where, strings.Join(first.lines, " "))
}

// alone is the run that everything is compared with: a dump and the number of writes of each phase.
func (w *world) alone() ([][]string, []int, error) {
	run, err := w.newRun(0, 0)
	if err != nil {
		return nil, nil, err
	}
	defer run.end()
	var dumps [][]string
	var counts []int
	for _, phase := range w.phases {
		life, ended, err := run.phase(phase, 0, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", phase, err)
		}
		fmt.Fprintf(os.Stderr, "%s:\n  %s\n", phase, strings.Join(life.counter.seen(), "\n  "))
		dumps, counts = append(dumps, ended.dump), append(counts, life.counter.count())
	}
	return dumps, counts, nil
}

// killedAfter goes through all phases, killing the operator once in each, and says what ended differently and which kills came about.
func (w *world) killedAfter(worker, n int, reference [][]string) ([]problem, []bool) {
	hits := make([]bool, len(reference))
	run, err := w.newRun(worker, n)
	if err != nil {
		return []problem{{fmt.Sprintf("n=%d", n), []string{err.Error()}}}, hits
	}
	defer run.end()
	started := time.Now()
	var problems []problem
	for i, phase := range w.phases[:len(reference)] {
		life, ended, err := run.phase(phase, n, reference[i])
		if err != nil {
			return append(problems, problem{fmt.Sprintf("%s, n=%d", phase, n), []string{err.Error()}}), hits
		}
		hits[i] = life.counter.killed()
		where := fmt.Sprintf("%s, n=%d, not killed", phase, n)
		if hits[i] {
			seen := life.counter.seen()
			where = fmt.Sprintf("%s, n=%d, killed after %s", phase, n, strings.ReplaceAll(seen[len(seen)-1], "/namespaces/"+run.namespace, ""))
		}
		if len(ended.difference) > 0 {
			problems = append(problems, problem{where, ended.difference})
		}
		fmt.Fprintf(os.Stderr, "%5.1f s %s\n", time.Since(started).Seconds(), where)
	}
	return problems, hits
}
