# shellcheck shell=bash
# First process of the storage host: waits, and takes the orphans. Run by
# tests/package/stage.sh in the overlay, in the place of the scenes of that test.
cd /opt/xblade-test || exit
mkdir -p /run/systemd/system /usr/local/sbin /srv/xblade
# A container's way to say that services are not to be started, which here they are.
rm -f /usr/sbin/policy-rc.d
# As NotifyAccess= has it: who listens is told what the service says.
python3 - <<'PY' >/run/notified 2>&1 &
import os, socket
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/run/notify")
os.chmod("/run/notify", 0o666)
while True:
    print(listener.recv(4096).decode(), flush=True)
PY
touch /run/box-up
while :; do
    sleep 3600 &
    wait $! || true
done
