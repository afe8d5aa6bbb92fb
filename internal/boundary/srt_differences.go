package boundary

import (
	"strings"

	"nanoclaw/internal/wire"
)

// srtDifferences are where the engine srt falls short of what the grant says, or
// of the native engine.
var srtDifferences = [...]Difference{
	{Engine: SRTEngine, About: []string{"read:/proc/1/environ", "read:/proc/1/mem"},
		Why: "process 1 is srt's helper, which is in /proc and lets nobody look"},
	{Engine: SRTEngine, About: []string{"exec:/proc/self/exe"}, More: true,
		Why: "the kernel's link leads to the program that runs, which the grant lets run where it lies"},
	{Engine: SRTEngine, About: []string{"read:/proc/keys", "read:/proc/kallsyms", "read:/proc/config.gz"}, More: true,
		Why: "srt's /proc is not masked, since it can be mounted only beside a whole one: what the kernel tells everybody can be read"},
	{Engine: SRTEngine, Name: "kernel file systems",
		Why: "srt's /proc is mounted so that parts of it could be written; Landlock closes them, where the kernel has it, and nobody inside is root outside"},
	{Engine: SRTEngine, More: true, Why: srtBounding},
	{Engine: SRTEngine, Why: "the init is not process 1: what it starts cannot signal it, and its end ends the session"},
	{Engine: SRTEngine, Why: "processes that were started one by one from outside cannot signal each other"},
	{Engine: SRTEngine, More: true, Why: "/dev/shm is bounded by the limit on memory, and not by that on /tmp"},
	{Engine: SRTEngine, More: true,
		Why: "Node.js, bubblewrap and shells of srt run beside the agent, not confined by Landlock, and count against its memory"},
}

// srtBounding is why boundingAttempt succeeds under srt.
const srtBounding = "srt's helper makes the last user namespace, whose capability bounding set is full: nothing can be gained from it under no_new_privs"

// srtWords are the differences as a session tells them.
func srtWords() []string {
	var out []string
	for _, d := range srtDifferences {
		if d.More || len(d.About) == 0 {
			out = append(out, "srt: "+strings.TrimPrefix(strings.Join(d.About, ", ")+": "+d.Why, ": "))
		}
	}
	return out
}

// expectSRT marks the attempt that is known to succeed under srt. Any other that
// does refuses the engine.
func expectSRT(attempts []wire.Attempt) {
	for i := range attempts {
		if attempts[i].Name == boundingAttempt && attempts[i].Broke {
			attempts[i].Known = srtBounding
		}
	}
}
