// Package etcd pins the version of etcd that the tests run. It is a module of its
// own, so that the product does not depend on the server.
package etcd
