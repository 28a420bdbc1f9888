// Package acl decides which permissions cover which actions on which
// resources, by the rules of InfluxDB 2.x. All of its functions are pure.
//
// Package directory knows who has which permissions, and package keep enforces
// them.
package acl
