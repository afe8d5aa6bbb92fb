package boundary

import "slices"

// containerDifferences are those of engines that start containers. Their sessions
// end in the same init as the native engine's, in a root that is an image.
var containerDifferences = slices.Concat(ofContainers(PodmanEngine), ofContainers(DockerEngine), ofContainers(AppleEngine), []Difference{
	{Engine: DockerEngine, Name: "masks", More: true,
		Why: "docker masks some of what tells about the machine in /proc and takes no further names: kallsyms, config.gz and the like can be read"},
	{Engine: DockerEngine, Name: "mount options", More: true,
		Why: "docker mounts folders neither nosuid nor nodev nor noexec: no_new_privs, an empty bounding set, the container's rules for devices and Landlock hold in their place, but the dynamic loader may be told to load what is not to run"},
	{Engine: AppleEngine, Name: "machine",
		Why: "each container is a machine of its own: its kernel, its /proc and its limits are that machine's, and no inode can be compared"},

	{Engine: GVisor, Name: "no Landlock", More: true,
		Why: "gVisor's kernel has none: what the image holds can be read as its permissions let it, and a process can write its own memory by /proc/self/mem"},
	{Engine: GVisor, Name: "process 1",
		Why: "an agent can kill the init, list its descriptors but not open them, and so end its own session"},
	{Engine: GVisor, Name: "devices", More: true,
		Why: "/dev/fuse and /dev/net/tun of gVisor's kernel are there; to use them takes a capability"},
	{Engine: GVisor, Name: "uid", Privileged: true, More: true,
		Why: "what runs the agent's instructions is root on the machine, in a user namespace of its own and under gVisor's filter of system calls"},
	{Engine: GVisor, Name: "processes",
		Why: "a process takes several of the machine's, so that a session has about half of limits.processes, and may end where it asks for more"},
	{Engine: GVisor, Name: "held parts",
		Why: "it does not start with hundreds of mounts: a lent folder with that many parts to hold is refused"},
})

func ofContainers(engine string) []Difference {
	return []Difference{
		{Engine: engine, Name: "names in the image", More: true,
			Why: "the root is the image's: names in it can be listed, and of what lies beneath only what the grant names can be read"},
		{Engine: engine, Name: "kernel file systems",
			Why: "parts of /proc could be written; Landlock closes them, where the kernel has it, and nobody inside is root outside"},
		{Engine: engine, Name: "sizes",
			Why: "/tmp has three quarters of the size that native lets it share with /dev/shm, and /dev/shm the rest"},
		{Engine: engine, Name: "lent folders", Privileged: true,
			Why: "a writable folder of somebody else than the group's uid is refused: the engine maps no owners"},
		{Engine: engine, Name: "inotify", More: true,
			Why: "what a session may watch with inotify is not bounded beyond what its uid may have"},
	}
}
