package main

import "context"

func runDisk(context.Context, config, *counts) error { return nil }
