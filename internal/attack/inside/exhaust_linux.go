package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Words by which this program is asked to play another part, after Verb.
const (
	nothingArg = "nothing" // end at once
	orphanArg  = "orphan"  // start a process that survives, and end
	sleepArg   = "sleep"   // stay, whatever signals come
	typeArg    = "type"    // type into our terminal
	x32Arg     = "x32"     // make a call of the x32 table
)

// child plays a part within the boundary.
func child(args []string) int {
	switch args[0] {
	case nothingArg:
		return 0
	case x32Arg:
		return callX32()
	case typeArg:
		return typeLetter(strings.Join(args[1:], ""))
	case orphanArg:
		cmd := (&attacker{}).self(sleepArg)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return exitFailed
		}
		fmt.Println(cmd.Process.Pid)
		return 0
	case sleepArg:
		signal.Ignore(unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
		time.Sleep(time.Hour)
		return 0
	}
	return exitFailed
}

// witness is a process that is only there to be attacked.
func witness() int {
	secret := []byte(os.Getenv(WitnessVar))
	if len(secret) == 0 {
		return exitFailed
	}
	arrived := make(chan os.Signal, 100)
	signal.Notify(arrived, unix.SIGUSR1, unix.SIGWINCH, unix.SIGIO, unix.SIGTERM)
	fmt.Printf("%d\n", bytesAt(secret))
	go func() {
		for s := range arrived {
			fmt.Printf("%v\n", s)
		}
	}()
	os.Stdin.Read(make([]byte, 1))
	return 0
}

// exhaust are the attempts of 4.6, and of 4.5 to outlive the session.
func exhaust() []attempt {
	const judge = "whether it is gone is seen by the host alone"
	return []attempt{
		without(judge, "K-22", "leave a process in a session of its own that ignores signals", orphan),
		without(judge, "K-22", "leave one that is nobody's child", func(a *attacker) (string, error) {
			return a.stay(exec.Command("/bin/sh", "-c", "(trap '' HUP TERM; setsid sleep 3600 </dev/null >/dev/null 2>&1 &) &"))
		}),
		without(harm, "R-01", "start processes without end", forkBomb),
		without(harm, "R-02", "use more memory than there may be", useMemory),
		without(harm, "R-03", "open files without end", openWithoutEnd),
		without(harm, "R-03", "watch files without end", watchWithoutEnd),
	}
}

// stay runs something that leaves a process behind.
func (a *attacker) stay(cmd *exec.Cmd) (string, error) {
	if out, err := cmd.Output(); err != nil {
		return "", refused(fmt.Sprintf("it could not be left: %v %s", err, out))
	}
	return "", refused("it was left; the host looks for it")
}

func orphan(a *attacker) (string, error) { return a.stay(a.self(orphanArg)) }

// forkBomb starts processes until it cannot, or has twice as many as it may. It
// has to start some, else it has shown nothing.
func forkBomb(a *attacker) (string, error) {
	var all []*exec.Cmd
	defer func() {
		for _, cmd := range all {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	for range 2 * a.Processes {
		cmd := exec.Command("sleep", "3600")
		if err := cmd.Start(); err != nil {
			if len(all) == 0 {
				return "not even one could be started", nil
			}
			return "", fmt.Errorf("after %d processes: %w", len(all), err)
		}
		all = append(all, cmd)
	}
	return fmt.Sprint(len(all), " processes"), nil
}

// held is how long something is held beyond its limit before that counts as
// success. Limits that are watched are looked at every second or so.
const held = 30 * time.Second

// useMemory holds twice what the session may have until it is killed for it, or
// has held it for so long that nobody minds.
func useMemory(a *attacker) (string, error) {
	b, err := unix.Mmap(-1, 0, int(2*a.Memory), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return "", err
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	time.Sleep(held)
	return strconv.Itoa(len(b)) + " bytes", nil
}

func openWithoutEnd(a *attacker) (string, error) {
	var all []int
	defer func() {
		for _, fd := range all {
			unix.Close(fd)
		}
	}()
	for range 2 * a.OpenFiles {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("after %d files: %w", len(all), err)
		}
		all = append(all, fd)
	}
	return fmt.Sprint(len(all), " files"), nil
}

// watchWithoutEnd is bounded by the number of open files, and by the kernel for
// each user namespace (inotify(7)).
func watchWithoutEnd(a *attacker) (string, error) {
	var all []int
	defer func() {
		for _, fd := range all {
			unix.Close(fd)
		}
	}()
	for range 2 * a.OpenFiles {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return "", errors.Join(fmt.Errorf("after %d instances", len(all)), err)
		}
		all = append(all, fd)
	}
	return fmt.Sprint(len(all), " instances"), nil
}
