package main

import (
	"sync"
	"time"
)

// counter counts writes that were carried out, and kills the operator after the last that it may do.
type counter struct {
	mutex   sync.Mutex
	limit   int
	writes  []string
	dead    bool
	last    time.Time
	leading bool
	kill    func()
}

// answered is asked once a write was carried out: whether the operator may see the answer.
func (c *counter) answered(what string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.dead {
		return false
	}
	c.writes = append(c.writes, what)
	c.last = time.Now()
	if c.limit > 0 && len(c.writes) >= c.limit {
		c.dead = true
		c.kill()
	}
	return !c.dead
}

// leads notes that the operator has taken the lease.
func (c *counter) leads() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.leading {
		c.leading, c.last = true, time.Now()
	}
}

func (c *counter) killed() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.dead
}

func (c *counter) count() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.writes)
}

func (c *counter) seen() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]string(nil), c.writes...)
}

// quiet says whether it leads and has written nothing for so long.
func (c *counter) quiet(since time.Duration) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.leading && time.Since(c.last) > since
}
