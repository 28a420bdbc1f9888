// Package cli is the command line: the commands of the program fluxkeep, their
// flags, what they print and what they ask.
//
// The commands that work with a server go through package client, as any other
// program would, and find the server as the influx CLI does (package profile).
// They decide nothing about secrets or permissions. serve is package server
// behind flags; audit, doctor, restore, import and key rewrap go through it to
// the files of a server on this machine.
//
// The rules of what goes where are at the top of output.go.
package cli
