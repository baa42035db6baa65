#!/usr/bin/env python3
"""Makes the keys and certificates of the secured test broker and of its clients in a directory.

    certificates.py DIRECTORY

ca.pem signs all; broker.pem is for localhost and 127.0.0.1, elsewhere.pem for another host, expired.pem ran out yesterday. A client
has client.pem with client-key.pem, the same key with a passphrase (client-key-locked.pem), and both as client.p12. The authority is
also in truststore.p12, as keytool writes it. Passwords: `store-secret`, the key's passphrase `key-secret`.
"""
import datetime, ipaddress, sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)
STORE, KEY = (serialization.BestAvailableEncryption(secret) for secret in (b"store-secret", b"key-secret"))


def name(common):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def certificate(common, key, issuer, issuer_key, names=(), authority=False, end=NOW + DAY):
    builder = (
        x509.CertificateBuilder().subject_name(name(common)).issuer_name(name(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW - 30 * DAY).not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(key, locked=False):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, KEY if locked else serialization.NoEncryption())


def main(folder):
    def new():
        return ec.generate_private_key(ec.SECP256R1())

    def write(file, *parts):
        (folder / file).write_bytes(b"".join(part if isinstance(part, bytes) else part.public_bytes(serialization.Encoding.PEM) for part in parts))

    ca_key = new()
    ca = certificate("Test Authority", ca_key, "Test Authority", ca_key, authority=True)
    write("ca.pem", ca)
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    for file, names, end in (
        ("broker.pem", here, NOW + DAY), ("elsewhere.pem", [x509.DNSName("elsewhere.example")], NOW + DAY), ("expired.pem", here, NOW - DAY)):
        key = new()
        write(file, pem(key), certificate("broker", key, "Test Authority", ca_key, names, end=end), ca)
    key = new()
    client = certificate("client", key, "Test Authority", ca_key)
    write("client.pem", client, ca)
    write("client-key.pem", pem(key))
    write("client-key-locked.pem", pem(key, locked=True))
    write("client.p12", pkcs12.serialize_key_and_certificates(b"client", key, client, [ca], STORE))
    write("truststore.p12", pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(ca, b"authority")], STORE))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
