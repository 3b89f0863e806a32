"""gpg, in a folder of its own that lasts as long as it is used: nobody's keyring is read or written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cachelib.model.errors import FormatError, SigningError
from cachelib.model.signing import Key, PublicKey, Signature, Standing

#: A call of gpg takes no longer than this (seconds); one that makes a key may wait for random numbers.
_TIMEOUT = 600
# sun_path has 108 bytes (unix(7)), and the agent's longest socket is S.gpg-agent.browser.
_LONGEST_HOME = 80
# DETAILS of GnuPG, Format of the colon listings: fields of a `pub` or `sec` line.
_VALIDITY, _CREATED, _EXPIRES, _USER_ID = 1, 5, 6, 9
_STANDINGS = {
    "GOODSIG": Standing.GOOD,
    # A key that expired signed while it was good, as far as its date is believed; Spack takes it, too.
    "EXPKEYSIG": Standing.GOOD,
    "REVKEYSIG": Standing.REVOKED,
    "EXPSIG": Standing.BAD,
    "BADSIG": Standing.BAD,
    "ERRSIG": Standing.BAD,
}


class Gpg:
    """One private keyring. `env` says where programs are found; nothing else of it goes along."""

    def __init__(self, env: Mapping[str, str], passphrase: str = "") -> None:
        path = env.get("PATH", os.defpath)
        program = shutil.which("gpg2", path=path) or shutil.which("gpg", path=path)
        if program is None:
            raise SigningError("gpg is not installed", hint="install the package gnupg (`apt install gnupg`, `brew install gnupg`)")
        secret = passphrase.rstrip("\r\n")
        if "\n" in secret:
            raise SigningError(
                "the passphrase has several lines, and gpg takes the first alone", hint="CACHE_SIGNING_PASSPHRASE is one line"
            )
        self._program, self._passphrase = program, os.fsencode(secret)
        wanted = env.get("TMPDIR") or tempfile.gettempdir()
        folder = wanted if len(wanted) + len("/gpg-12345678") <= _LONGEST_HOME else "/tmp"  # noqa: S108
        self._home = Path(tempfile.mkdtemp(prefix="gpg-", dir=folder))
        self._env = {"PATH": path, "GNUPGHOME": str(self._home), "LC_ALL": "C.UTF-8"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the agent of this keyring, and delete it."""
        if gpgconf := shutil.which("gpgconf", path=self._env["PATH"]):
            for step in (["--kill", "all"], ["--remove-socketdir"]):
                subprocess.run([gpgconf, *step], env=self._env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def create(self, user_id: str, days: int) -> Key:
        """Make a key that signs, RSA of gpg's own size: every gpg that Spack takes reads it. With 0 days it doesn't expire."""
        expires = f"{days}d" if days else "never"
        done = self._run("--quick-generate-key", "--", user_id, "rsa3072", "sign", expires, secret=True, empty_passphrase=True)
        if done.returncode != 0:
            raise SigningError(f"gpg made no key: {_said(done)}", hint="a user id is like 'Name <me@example.org>'")
        return self.keys(secret=True)[0]

    def import_keys(self, data: bytes) -> None:
        """Take public or private keys, armored or not; what is no key is passed over."""
        self._run("--import", data=data)

    def keys(self, *, secret: bool = False) -> tuple[Key, ...]:
        """The keys of this keyring, or those whose private half is here, by fingerprint."""
        done = self._run("--list-secret-keys" if secret else "--list-keys", "--with-colons", "--fixed-list-mode")
        return tuple(sorted(_keys(done.stdout.decode("utf-8", "replace")), key=lambda key: key.fingerprint))

    def public_keys(self) -> tuple[PublicKey, ...]:
        """The public halves of all keys, by fingerprint."""
        return tuple(PublicKey(key=key, data=self._export("--export", key.fingerprint)) for key in self.keys())

    def private_key(self, fingerprint: str) -> bytes:
        """The private half of a key, armored."""
        return self._export("--export-secret-keys", fingerprint)

    def revocation(self, fingerprint: str) -> bytes:
        """The certificate that revokes a key, which gpg made with it; importing it revokes."""
        path = self._home / "openpgp-revocs.d" / f"{fingerprint}.rev"
        # gpg puts a colon before it, so that nobody imports it unawares.
        text = path.read_bytes().replace(b"\n:-----BEGIN", b"\n-----BEGIN")
        return text[text.index(b"-----BEGIN") :]

    def sign(self, text: bytes, fingerprint: str) -> bytes:
        """A text as a clear-signed message, as Spack's own signing makes it (util/gpg.py, sign)."""
        path = self._home / "text"
        path.write_bytes(text)
        done = self._run(
            "--clearsign", "--armor", "--digest-algo", "SHA512", "--local-user", fingerprint, "--output", "-", str(path), secret=True
        )
        if done.returncode != 0 or not done.stdout:
            raise SigningError(f"gpg did not sign with {fingerprint}: {_said(done)}", hint="is CACHE_SIGNING_PASSPHRASE its passphrase?")
        return done.stdout

    def verify(self, message: bytes) -> Signature:
        """What the one signature of a clear-signed message comes to."""
        lines = self._run("--status-fd", "1", "--verify", data=message).stdout.decode("utf-8", "replace").splitlines()
        told = [line.split()[1:] for line in lines if line.startswith("[GNUPG:] ")]
        results = [words for words in told if words[0] in _STANDINGS]
        if len(results) != 1 or sum(words[0] == "NEWSIG" for words in told) != 1:
            return Signature(standing=Standing.BAD)
        [words] = results
        valid = [word for word in told if word[0] == "VALIDSIG"]
        # VALIDSIG tells the fingerprint of the primary key last; ERRSIG that of the key that is missing, or its short id.
        if words[0] == "ERRSIG":
            missing = any(word[0] == "NO_PUBKEY" for word in told)
            return Signature(standing=Standing.FOREIGN if missing else Standing.BAD, fingerprint=words[-1] if missing else "")
        if words[0] == "BADSIG" or len(valid) != 1:
            return Signature(standing=Standing.BAD)
        return Signature(standing=_STANDINGS[words[0]], fingerprint=valid[0][-1])

    def _export(self, how: str, fingerprint: str) -> bytes:
        done = self._run("--armor", how, fingerprint, secret=how != "--export")
        if done.returncode != 0 or not done.stdout:
            raise SigningError(f"gpg did not export {fingerprint}: {_said(done)}", hint="is CACHE_SIGNING_PASSPHRASE its passphrase?")
        return done.stdout

    def _run(
        self, *arguments: str, data: bytes = b"", secret: bool = False, empty_passphrase: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        command = [self._program, "--batch", "--yes", "--no-tty", "--quiet", "--no-auto-key-retrieve", "--trust-model", "always"]
        if secret:
            command += ["--pinentry-mode", "loopback"]
            if self._passphrase or empty_passphrase:
                command += ["--passphrase-fd", "0"]
                data = self._passphrase + b"\n"
        try:
            return subprocess.run([*command, *arguments], env=self._env, input=data, capture_output=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SigningError(f"gpg can't be run: {error}", hint="`gpg --version` should tell of GnuPG 2") from None


def _keys(listing: str) -> list[Key]:
    """The primary keys of a colon listing."""
    found: list[Key] = []
    fields: list[str] = []
    fingerprint = ""
    for line in [*listing.splitlines(), "pub"]:
        words = line.split(":")
        if words[0] in ("pub", "sec"):
            fields, fingerprint = words, ""
        elif words[0] == "fpr" and fields and not fingerprint:
            fingerprint = words[_USER_ID]
        elif words[0] == "uid" and fields and fingerprint:
            with contextlib.suppress(FormatError, ValueError, OverflowError, OSError):
                found.append(
                    Key(
                        fingerprint=fingerprint, user_id=words[_USER_ID].replace("\\x3a", ":"), created=_time(fields[_CREATED]),
                        expires=_time(fields[_EXPIRES]), revoked=fields[_VALIDITY].startswith("r"),
                    )
                )  # fmt: skip
            fields = []
    return found


def _time(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode("utf-8", "replace").strip()[-500:] or f"exit code {done.returncode}"
