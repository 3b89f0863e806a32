"""A small issuer of registry tokens (distribution, Token Authentication), for docker-registry's token mode."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.support.certificates import Certificates


class TokenIssuer:
    """Issues tokens to one user for everything, and to anybody for pulling; remembers what was asked."""

    def __init__(self, certificates: Certificates, username: str, password: str, *, seconds: int = 300) -> None:
        self._key: Any = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
        self._chain = x509.load_pem_x509_certificates(certificates.certificate.read_bytes())
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._seconds = seconds
        self.scopes: list[str] = []
        self.url = ""

    def token(self, scopes: list[str], authorization: str) -> str | None:
        """A token for the scopes, or nothing where the password is wrong."""
        if authorization and authorization != self._basic:
            return None
        self.scopes += scopes
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            granted = actions.split(",") if authorization else ["pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        chain = [base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode() for cert in self._chain]
        header = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        claims = {
            "iss": "tests", "sub": "tester", "aud": "registry", "exp": now + self._seconds, "nbf": now - 10, "iat": now,
            "jti": hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:16], "access": access,
        }  # fmt: skip
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def issuing(certificates: Certificates, username: str, password: str, *, seconds: int = 300) -> Iterator[TokenIssuer]:
    """Serve tokens over TLS on a free port of 127.0.0.1."""
    issuer = TokenIssuer(certificates, username, password, seconds=seconds)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            token = issuer.token(query.get("scope", []), self.headers.get("Authorization", ""))
            body = json.dumps({"token": token} if token else {"errors": [{"code": "UNAUTHORIZED"}]}).encode()
            self.send_response(200 if token else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    issuer.url = f"https://127.0.0.1:{server.server_port}/token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()


def root_bundle(folder: Path, certificates: Certificates) -> Path:
    """The certificates that docker-registry trusts to sign tokens."""
    bundle = folder / "token-roots.pem"
    bundle.write_bytes(certificates.authority.read_bytes() + certificates.certificate.read_bytes())
    return bundle
