# Puts nginx and ingress-nginx's files where the controller looks for them, in a
# mount namespace of its own, and becomes the controller.
#   start.sh PACKAGES WORK CONTROLLER FLAG…
set -eu
packages=$1 work=$2
shift 2
mount -t overlay overlay -o "lowerdir=$packages/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$work/etc:/etc" /etc
mount --bind "$work/nginx" /etc/nginx
mount --bind "$work/ingress-controller" /etc/ingress-controller
mkdir -p /tmp/nginx
mount --bind "$work/tmp" /tmp/nginx
mkdir -p /var/log/nginx /var/lib/nginx
exec "$@"
