package attack

import (
	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
)

func networkLines() []Line {
	const none = "no network but loopback"
	via := func(id, tries, want string, hosts ...string) Line {
		return Line{ID: id, Tries: tries, Want: want, After: []check{recorded}, Audit: hosts,
			Shown: []string{"egress · TestRefusedBeforeLookup"}}
	}
	empty := via("N-05", "use a grant without hosts as one with all", "403", "anything.test", inside.Allowed)
	empty.session, empty.Shown = noHosts, []string{"egress · TestEmptyListAllowsNothing"}
	return []Line{
		{ID: "N-01", Tries: "connect directly", Want: none},
		{ID: "N-02", Tries: "send datagrams: UDP, QUIC, ICMP", Want: none},
		{ID: "N-03", Tries: "send secrets in questions to a name server", Want: none + ", and no name server"},
		{ID: "N-04", Tries: "ignore the proxy", Want: none},
		empty,
		via("N-06", "hosts that look like a granted one", "403", "evil"+inside.Allowed, inside.Allowed+".evil.test", inside.Wild),
		via("N-07", "a NUL in the name", "refused before it is compared"),
		via("N-08", "line ends and zones in the name", "refused before it is compared"),
		via("N-09", "addresses as numbers, in all spellings", "403"),
		via("N-10", "another case, a dot at the end", "the same answer as in plain spelling", "evil.test", "api.evil.test"),
		withTests(via("N-11", "a granted name that leads to this machine", "403: the address is judged that is dialled", inside.Rebound, inside.Private), "egress · TestRebinding"),
		withTests(via("N-12", "a granted host in CONNECT, another in TLS", "closed", inside.Allowed), "egress · TestTunnelCarriesOnlyItsTLS"),
		via("N-13", "other ports of a granted host", "403", inside.Allowed),
		withTests(via("N-14", "another protocol in a tunnel", "closed", inside.Allowed), "egress · TestTunnelCarriesOnlyItsTLS"),
		withTests(via("N-15", "requests with two readings", "made anew, or 400"), "egress · TestPlainIsRebuilt"),
		via("N-16", "plain HTTP to a host that is not granted", "403", "evil.test"),
		{ID: "N-17", Tries: "MPTCP", Want: none},
		{ID: "N-18", Tries: "TCP Fast Open", Want: none},
		{ID: "N-19", Tries: "the proxy's port on another host", Want: none},
		{ID: "N-20", Tries: "UDP where only TCP is watched", Want: none},
		{ID: "N-21", Tries: "tell secrets to a granted host", Want: "it is told",
			Open:  "what a granted host is told is its own; the model's endpoint takes no credential but ours",
			Shown: []string{"egress · TestModelCredential", "egress · TestModelRoutes"}},
		{ID: "N-22", Tries: "use the way out of another group", Want: "a session's way out is its own wire",
			Shown: []string{"wire · TestToken", "egress · TestModelAnotherSession"}},
		withTests(via("N-23", "claim to be another group", "the claim is not read", "evil.test"), "egress · TestForgedIdentity"),
		{ID: "N-24", Tries: "have a changed configuration open a running session", Want: "new runs wait for a restart",
			Shown: []string{"daemon · TestConfigurationChangedUnderneath"}},
		{ID: "N-25", Tries: "have a question that nobody answers count as yes", Want: "nobody is asked: no is the answer",
			Shown: []string{"egress · TestRefusedBeforeLookup", "agent · TestContractToolIsRefused"}},
		{ID: "N-26", Tries: "be quicker than the proxy", Want: "it listens before anything inside runs",
			Shown: []string{"boundary · TestConnectionsBecomeStreams"}},
		{ID: "N-27", Tries: "take the proxy's place", Want: "its address is taken, by a process that cannot be killed"},
		{ID: "N-28", Tries: "services on the host's loopback", Want: "inside has a loopback of its own", After: []check{sockets}},
		via("N-29", "the cloud's metadata", "403", inside.Metadata),
		{ID: "N-30", Tries: "administer the network", Want: "refused"},
		{ID: "N-31", Tries: "reach the host's control from a web page", Want: "it is a Unix socket for the owner's processes, outside every boundary",
			Shown: []string{"control · TestPeer", "control · TestOwnPIDNamespace"}},
		{ID: "N-32", Tries: "connect by IPv6 alone", Want: none},
	}
}

func kernelLines() []Line {
	const refused = "refused by the filter"
	return []Line{
		{ID: "K-01", Tries: "Unix sockets of the host's services", Want: refused, After: []check{sockets},
			Shown: []string{"boundary · TestSocketpairCannotBeReopened"}},
		{ID: "K-02", Tries: "the same with bits that the kernel ignores", Want: refused},
		{ID: "K-03", Tries: "abstract sockets of the host", Want: refused, After: []check{sockets}},
		{ID: "K-04", Tries: "the system calls of i386", Want: "killed", Shown: []string{"confine · TestForeignArchitectureLive", "confine · TestOtherABIsLive"}},
		{ID: "K-05", Tries: "the system calls of x32", Want: "there are none", Shown: []string{"confine · TestOtherABIsLive"}},
		{ID: "K-06", Tries: "io_uring, which acts past the filter", Want: refused},
		{ID: "K-07", Tries: "clone3, whose flags no filter sees", Want: "there is no such call"},
		{ID: "K-08", Tries: "have services of the host start something: bus, cron", Want: "neither is there", After: []check{sockets}},
		{ID: "K-09", Tries: "read the owner's keyrings", Want: refused, After: []check{keys}, Shown: []string{"boundary · TestKeyringIsItsOwn"}},
		{ID: "K-10", Tries: "shared memory and message queues of the host", Want: "inside has its own", After: []check{memory}},
		{ID: "K-11", Tries: "POSIX shared memory of the host", Want: "/dev/shm is the session's own", After: []check{memory}},
		{ID: "K-12", Tries: "trace a process of the host, take its descriptors", Want: "there is no such process", After: []check{process}},
		{ID: "K-13", Tries: "signal processes of the host", Want: "there are none", After: []check{process}, session: rough},
		{ID: "K-14", Tries: "type into the owner's terminal", Want: refused},
		{ID: "K-15", Tries: "control the owner's terminal by what is printed", Want: "control characters are taken out",
			Shown: []string{"channel · TestSafeText", "channel · TestCleanerAcrossPieces", "boundary · TestWordsFromInsideAreMadePlain"}},
		{ID: "K-16", Tries: "settings by which the kernel runs a program as root", Want: "read-only, and nobody inside is root outside", After: []check{settings, identity},
			OpenBy: map[string]string{
				gvisorAsRoot: "what runs the agent's instructions is gVisor's own, and root on the machine where root started it: with no right outside of a user namespace of its own, and few system calls",
			}},
		{ID: "K-17", Tries: "control groups that run a program at their end", Want: "there are none"},
		{ID: "K-18", Tries: "sysrq, power and firmware", Want: "read-only or absent", After: []check{settings}},
		{ID: "K-19", Tries: "calls that administer the kernel", Want: refused},
		{ID: "K-20", Tries: "programs that run as their owner", Want: "no new privileges, and nothing honours them",
			OpenBy: map[string]string{
				boundary.SRTEngine:    "the bounding set is full, as srt's own helper leaves it; under no_new_privs nothing can be gained from it",
				boundary.DockerEngine: "docker mounts nothing nosuid; under no_new_privs, with an empty bounding set, nothing can be gained from it",
			}},
		{ID: "K-21", Tries: "programs with capabilities", Want: "refused"},
		{ID: "K-22", Tries: "leave processes that survive", Want: "all are dead within a second", After: []check{survivors}, session: rough,
			Shown: []string{"boundary · TestNothingOutlivesAKilledDaemon", "boundary · TestNothingOutlivesAKill"}},
		{ID: "K-23", Tries: "trace, stop or kill process 1", Want: "it goes on", session: fatal, Shown: []string{"boundary · TestInitTellsNothing"},
			OpenBy: map[string]string{
				boundary.GVisor: "gVisor's kernel protects process 1 from nobody of its own uid: an agent can end its own session, and with it all that it started",
			}},
		{ID: "K-24", Tries: "turn off defences by personality", Want: refused},
		{ID: "K-25", Tries: "run a program from memory", Want: "it runs",
			Open: "what may be run is not part of the boundary: whoever may run a shell may run anything"},
		{ID: "K-26", Tries: "sockets to the hypervisor, to packets, to the kernel", Want: refused},
		{ID: "K-27", Tries: "devices", Want: "not there",
			OpenBy: map[string]string{
				boundary.GVisor: "/dev/fuse and /dev/net/tun are those of gVisor's kernel; to mount the one or to bring up the other takes a capability",
			}},
		{ID: "K-28", Tries: "the clock and the name of the machine", Want: refused, After: []check{settings}},
		{ID: "K-29", Tries: "answer system calls of others", Want: refused},
		{ID: "K-30", Tries: "calls that are newer than the filter", Want: "there is no such call", Shown: []string{"confine · TestTableIsComplete", "confine · TestFilterEqualsTable"}},
	}
}
