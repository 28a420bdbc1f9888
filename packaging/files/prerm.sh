#!/bin/sh
# Runs before a removal: as "prerm remove" by dpkg, as "prerm 0" by rpm. Before an
# upgrade there is nothing to do: the new version restarts the server. The unit
# stays enabled until a purge, so that a new installation starts it again.
set -e

case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop fluxkeep.service
	fi
	;;
esac
