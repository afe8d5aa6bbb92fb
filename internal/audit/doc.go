// Package audit is the record of what happened and why: who wrote, what was
// decided, what an agent was given, what it touched, how it ended.
//
// # How an entry becomes evidence
//
//	Entry ── Seal ──► row in the same transaction as the state it records
//	                    │            salt, payload, commitment
//	                    ▼
//	              Sequencer: rows in the order of their ids
//	                    │            leaf = record of (id, time, kind, names, commitment)
//	                    ▼
//	              Merkle log (tlog) ──► signed checkpoint: origin, size, root
//
// The store commits an entry together with the change it describes, before the
// act where there is an act. So no act is without its entry after a crash. One
// sequencer then appends committed rows to a tamper-evident log (RFC 6962 as in
// Go's checksum database, package tlog) and signs its root (package note)
// within a fifth of a second.
//
// The leaf does not hold the payload but a commitment to it, SHA-256 over a
// random salt and the payload. So a person's words can be erased, payload and
// salt together, and every other entry, the erased one's place, time and kind
// included, still verifies.
//
// # What a verified log proves
//
//   - Against somebody without the signing key: nothing that a checkpoint covers
//     was changed, removed, inserted or put in another order.
//   - Against somebody with the key (the daemon's own user, or root): nothing
//     by itself, since they can write another log and sign it. What binds them
//     is a checkpoint or an export that was kept elsewhere: a rewritten log no
//     longer leads to its root. See AppendAnchor.
//   - It does not prove that the newest entries are there: whoever can write
//     the data folder can put back an older store with its older checkpoint.
//     Again a checkpoint kept elsewhere shows it.
//   - It proves what the host recorded, not that the host saw everything.
//   - An export of a part proves that each of its entries is in the log, not
//     that the part is complete. A full export proves both.
//   - An erased payload cannot be told from one erased without right; Verify
//     counts them, and the store's way to erase leaves an entry of its own.
//
// Trust: the key lies in the data folder, which is in no grant, as a file that
// only its owner may read. An agent reaches neither it nor the rows; all it can
// do is to cause entries, whose size is bounded here.
//
// This package knows no SQL. The store keeps rows and hashes behind Source and
// Storage.
package audit
