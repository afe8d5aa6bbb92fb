// Package control is how the owner's commands reach the daemon: HTTP/1.1 and
// JSON over a Unix socket, both ends in one package.
//
// What it promises: whoever gets a request through is the owner. The socket
// lies in a folder of mode 0700 that is in no grant, and the server asks the
// kernel who connected (SO_PEERCRED) before it reads a byte: the same user or
// root, and a process of our own user and PID namespace. The second half
// matters because an ordinary user's agent has the owner's uid. Groups, chat
// networks and agents have no way in here.
//
// What it leaves to others: everything that is done. Host is the list of acts,
// and the daemon implements it. The same server answers on an in-memory
// listener, so that a command that finds no daemon can start one in its own
// process and go the very same way.
package control
