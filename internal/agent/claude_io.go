package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

func (c *claude) readStderr() {
	defer c.errRead.Done()
	buf := make([]byte, 4<<10)
	for {
		n, err := c.proc.Stderr().Read(buf)
		c.mu.Lock()
		c.stderr.add(buf[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// readLines gives each line to its handler, until the stream ends.
func (c *claude) readLines() {
	r := bufio.NewReaderSize(c.proc.Stdout(), 64<<10)
	for {
		line, err := readLine(r)
		if err == nil && c.tooMuch(len(line)) {
			err = errTooMuch
		}
		switch {
		case errors.Is(err, errLineTooLong), errors.Is(err, errTooMuch):
			c.fail(&Error{Class: ClassProtocol, Text: "Claude Code was stopped", Detail: err.Error()})
			return
		case err != nil:
			c.hungUp()
			return
		}
		if len(line) > 0 {
			c.handle(line)
		}
	}
}

var errTooMuch = errors.New("it wrote more than 1 GiB in one turn")

func (c *claude) tooMuch(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += n
	return c.read > maxTurn
}

// hungUp tells why the stream ended: the process is about to end too, and its
// exit code and stderr say more than the end of the stream.
func (c *claude) hungUp() {
	select {
	case <-c.ended:
		c.errRead.Wait()
		c.fail(c.lastWords())
	case <-c.over:
	case <-time.After(closeGrace):
		c.fail(&Error{Class: ClassProtocol, Text: "Claude Code closed its output"})
	}
}

// send puts a line on its way. A process that does not read what it asked for
// costs itself the conversation, not the host its memory.
func (c *claude) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write to Claude Code: %w", err)
	}
	line = append(line, '\n')
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	full := c.outgoing+len(line) > maxOutgoing
	if !full {
		select {
		case c.out <- line:
			c.outgoing += len(line)
		default:
			full = true
		}
	}
	c.mu.Unlock()
	if full {
		c.fail(&Error{Class: ClassProtocol, Text: "Claude Code was stopped: it does not read its input"})
		return c.why()
	}
	return nil
}

func (c *claude) writeLines() {
	for {
		select {
		case line := <-c.out:
			_, err := c.proc.Stdin().Write(line)
			c.mu.Lock()
			c.outgoing -= len(line)
			c.mu.Unlock()
			if err != nil {
				if !errors.Is(err, io.ErrClosedPipe) {
					c.log.Debug("write to Claude Code", "err", err)
				}
				return // readLines finds out why
			}
		case <-c.over:
			return
		}
	}
}
