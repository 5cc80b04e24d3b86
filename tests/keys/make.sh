#!/bin/sh
# Makes the keys that the tests of src/auth read. They are in the repository on purpose: test only, known to
# everybody, never to be used. Run it again only to add a kind; the tests need no particular values.
set -eu
cd "$(dirname "$0")"
umask 022

rsa() { openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$1" -out "$2"; }
ec() { openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$1" -pkeyopt ec_param_enc:named_curve -out "$2"; }
public() { openssl pkey -in "$1" -pubout -out "$2"; }

rsa 2048 test-only-rsa.pem
public test-only-rsa.pem test-only-rsa.pub.pem
openssl rsa -in test-only-rsa.pem -traditional -out test-only-rsa-pkcs1.pem
openssl rsa -in test-only-rsa.pem -RSAPublicKey_out -out test-only-rsa-pkcs1.pub.pem
openssl rsa -in test-only-rsa.pem -traditional -aes256 -passout pass:correct-horse -out test-only-rsa-legacy-encrypted.pem
openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 2048 -in test-only-rsa.pem \
    -passout pass:correct-horse -out test-only-rsa-pbkdf2.pem
openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in test-only-rsa.pem -passout pass:correct-horse -out test-only-rsa-pbes1.pem
rsa 1024 test-only-rsa-1024.pem
rsa 2048 test-only-rsa-other.pem
public test-only-rsa-other.pem test-only-rsa-other.pub.pem
openssl genpkey -quiet -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out test-only-rsa-pss.pem

ec P-256 test-only-p256.pem
public test-only-p256.pem test-only-p256.pub.pem
openssl ecparam -name prime256v1 -genkey -out test-only-p256-sec1.pem    # with an EC PARAMETERS block before the key
openssl pkcs8 -topk8 -scrypt -in test-only-p256.pem -passout pass:correct-horse -out test-only-p256-scrypt.pem
openssl req -new -x509 -key test-only-p256.pem -days 36500 -subj "/CN=test only" -out test-only-p256.crt
cat test-only-p256.pem test-only-p256.crt > test-only-p256-with-certificate.pem
ec P-384 test-only-p384.pem
ec P-521 test-only-p521.pem
ec secp256k1 test-only-secp256k1.pem
openssl ecparam -name secp384r1 -genkey -noout -out test-only-p384-sec1.pem

openssl genpkey -algorithm ED25519 -out test-only-ed25519.pem
public test-only-ed25519.pem test-only-ed25519.pub.pem
openssl genpkey -algorithm ED25519 -aes-256-cbc -pass pass:correct-horse -out test-only-ed25519-encrypted.pem
