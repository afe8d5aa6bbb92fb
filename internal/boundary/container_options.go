package boundary

// ContainerOptions make an engine that starts containers.
type ContainerOptions struct {
	// Program is the engine's command line tool: a path, or a name that is looked
	// for in the folders of the system. Empty: the engine's own name.
	Program string
	// Args come before the command, such as "--root", "/srv/containers".
	Args []string
	// Runtime is the OCI runtime, by name or path, such as "runsc". Empty: the
	// engine's own choice.
	Runtime string
	// Image is used by sessions whose grant names none.
	Image string
	// Install names this installation. Containers carry it as a label, and only
	// those that do are ever removed.
	Install string
	// Env is the environment of the tool: where its settings and storage are.
	Env []string
}
