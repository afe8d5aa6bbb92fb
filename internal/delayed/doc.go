// Package delayed knows the files that make the owner's machine run code later:
// git hooks, shell start-up files, settings of editors, of agents, of CI. An
// agent that may write into a folder of the owner could leave such a file there,
// and whoever works in the folder afterwards would run it with all rights.
//
// # What it promises
//
// Scan finds the places in a folder that hold such files. Those that exist are
// to be held: mounted read-only, with the folders above them pinned, which is
// the boundary's work. Those that come into being cannot be prevented by mounts
// without leaving empty files in people's projects. They are found by Compare of
// a scan before and one after, and Quarantine moves them out of the folder.
//
//	Scan        a folder -> places, and oddities such as files with a second name
//	Holds       places -> what to mount read-only, and what to pin
//	Compare     two scans -> findings: to move, or only to tell
//	Quarantine  findings -> out of the folder, into a place of ours
//	Contents    what lies there; Look, Restore and Discard by its owner's word
//
// # Trust
//
// The folder is the agent's, and may be so while it is looked at. Every lookup
// goes through package beneath. Names may be any bytes, and there may be any
// number of them: a scan is bounded in entries, places and time, goes from the
// top down, so that a flood deep in the folder hides nothing above it, and says
// when it is not complete. Nothing that was there before is ever moved.
//
// # What it leaves to others
//
// Which folders: to the grant. Mounts: to the boundary. Telling people: to the
// daemon. What programs of the owner run anyway (makefiles, scripts of packages,
// tests, the project itself) is not held: no list could be complete, and the
// folder would be of no use.
package delayed
