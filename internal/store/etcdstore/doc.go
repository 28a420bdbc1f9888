// Package etcdstore stores data in an etcd cluster that any number of Fluxkeep
// servers share. All servers are equal: a View on any of them shows every change
// that returned before it began, through whichever server it was made.
//
// Each server has a copy of the store in a local folder, fed by a watch. Views
// and the functions of Update read the copy, after one shared read from etcd has
// shown how new it must be. Update commits a group of changes as one etcd
// transaction, which compares the value of the commit key with the one that the
// copy has. The copy can be deleted at any time.
//
// Like every store, it does not interpret or seal the bytes. DESIGN.md has the
// keys, the rules and the reasons.
package etcdstore
