// Package imports takes over an installation of NanoClaw 1, of its last versions 1.2,
// or of the fork that ran agents on the host: groups, who may speak, folders, memory,
// conversations, tasks, history and the credential.
//
// Open reads the old installation into a value, Plan decides, without looking at
// anything else, what becomes of each part, and Apply carries a plan out. So what is
// shown before is what is done. Whatever has no equivalent here, or cannot be used, is
// named in the plan with the reason.
//
// # What it promises
//
//   - The old installation is not changed: it is read, and its store from a copy.
//   - An import never opens host mode (I7): no group gets a mode, no task a consent, and
//     a chat is never added to a group that was here before, but for the owner's own.
//     It makes nobody the owner but whom the owner names.
//   - What was begun is finished by doing it again, and what is finished is not done a
//     second time: each group has a note in the store.
//
// # Trust
//
// Nearly all of the old installation could be written by main's agent, and each group's
// folder by its own: rows, names, JSON and files are anybody's. Paths are opened beneath
// the old folder, following no link; only regular files with one name are copied, and
// none that holds a secret of the old .env. Values are checked as if a stranger had
// typed them. What a plan gives was asked for by such data, so the owner has to read it.
package imports
