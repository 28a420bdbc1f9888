// Package cli is the command line: the commands of the program fluxkeep, with
// their flags, output and prompts.
//
// The commands that work with a server go through package client, as any other
// program would, and find the server as the influx CLI does (package profile).
// They decide nothing about secrets or permissions. Only serve uses package
// server; audit, doctor, restore, recover, import and key rewrap work on the
// files of a server on this machine, through package datadir.
//
// The rules for output are at the top of output.go.
package cli
