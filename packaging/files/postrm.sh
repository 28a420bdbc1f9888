#!/bin/sh
# Runs after a removal: as "postrm remove", and perhaps later "postrm purge", by
# dpkg, as "postrm 0" by rpm. Data and key always stay: only
# the administrator knows whether somebody still needs them or a backup.
set -e

case "$1" in
purge | 0)
	rm -f /etc/systemd/system/multi-user.target.wants/fluxkeep.service
	for path in /var/lib/fluxkeep /etc/fluxkeep/key; do
		if [ -e $path ]; then
			echo "fluxkeep: $path is still there; delete it when nobody needs the data or a backup any more"
		fi
	done
	;;
esac
case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload
	fi
	;;
esac
