#!/bin/sh
# ca.sh: a certificate authority in the folder where it is called. Needs openssl.
#
#   ca.sh init HOST      makes ca.pem, crl.pem, broker.pem and broker.key for a
#                        broker that clients reach as HOST, a name or an address
#   ca.sh issue NAME     makes NAME.pem and NAME.key for a gateway or a program
#   ca.sh revoke NAME    takes the certificate back, in crl.pem; or the file of one
#                        that badgectl provision made by this authority
#
# ca.key signs: keep the folder off the broker. Certificates hold for ten years, as
# a gateway that was switched off for a year must come back by itself.
set -eu
umask 077

settings() {
	cat <<-END
		[ca]
		default_ca = badged
		[badged]
		database = ca.index
		serial = ca.serial
		crlnumber = ca.crlnumber
		new_certs_dir = .
		certificate = ca.pem
		private_key = ca.key
		default_md = sha256
		default_days = 3650
		default_crl_days = 3650
		unique_subject = no
		policy = names
		copy_extensions = none
		[names]
		commonName = supplied
		[req]
		distinguished_name = none
		[none]
		[authority]
		basicConstraints = critical, CA:true
		keyUsage = critical, keyCertSign, cRLSign
		subjectKeyIdentifier = hash
		[server]
		subjectAltName = $1
		extendedKeyUsage = serverAuth
		[client]
		extendedKeyUsage = clientAuth
	END
}

# ca says what openssl says only when it fails.
ca() { openssl ca -config ca.cnf "$@" 2>ca.log || { cat ca.log >&2; return 1; }; }

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# sign KIND NAME: makes NAME.key and NAME.pem
sign() {
	key "$2.key"
	openssl req -new -config ca.cnf -key "$2.key" -subj "/CN=$2" -out "$2.csr"
	ca -batch -notext -extensions "$1" -in "$2.csr" -out "$2.pem" || { rm -f "$2.key" "$2.csr"; exit 1; }
	rm -f "$2.csr" "$(cat ca.serial.old).pem"
}

crl() { ca -gencrl -out crl.pem; }

fail() { echo "ca.sh: $*" >&2; exit 1; }

[ $# = 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case $1 in
init)
	[ ! -e ca.key ] || fail "there is an authority in this folder already: clients trust it"
	case $2 in *:*) san=IP:$2 ;; *[!0-9.]*) san=DNS:$2 ;; *) san=IP:$2 ;; esac
	settings "$san" >ca.cnf
	: >ca.index
	echo 01 >ca.serial
	echo 01 >ca.crlnumber
	key ca.key
	openssl req -new -x509 -config ca.cnf -extensions authority -key ca.key -subj "/CN=badged broker authority" -days 7300 -out ca.pem
	sign server broker
	crl
	;;
issue)
	[ -e ca.key ] || fail "no authority in this folder: ca.sh init first"
	case $2 in '' | *[!a-z0-9-]*) fail "name $2: only a-z, 0-9 and - may stand in it" ;; ca | crl | broker) fail "the name $2 is taken" ;; esac
	[ ! -e "$2.key" ] || fail "$2.key is there already: move it away if you mean to replace it"
	sign client "$2"
	;;
revoke)
	cert=$2
	[ -e "$cert" ] || cert=$2.pem
	[ -e "$cert" ] || fail "no $cert here"
	ca -revoke "$cert"
	crl
	;;
*) fail "$1: want init, issue or revoke" ;;
esac
