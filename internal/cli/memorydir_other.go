//go:build !linux

package cli

// memoryDir returns a folder on a file system in memory.
func memoryDir() (string, error) { return "", errNotInMemory }
