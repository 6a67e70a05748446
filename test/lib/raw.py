"""HTTP by hand: requests as bytes on a socket, signed or wrongly signed, and their answers."""

import hashlib
import hmac
import re
import socket
import time
import urllib.parse

from lib.cluster import ACCESS_KEY, SECRET_KEY


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found.group(1).decode() if found else None


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed(method, path, body=b"", query=None, headers=None, host="quern", payload=None,
           access=ACCESS_KEY, secret=SECRET_KEY, when=None, length=None):
    """The bytes of a request with an Authorization header. path is raw bytes or text, not encoded."""
    when = when or time.gmtime()
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", when), time.strftime("%Y%m%d", when)
    payload = payload or hashlib.sha256(body).hexdigest()
    encoded = urllib.parse.quote(path, safe="/-_.~")
    pairs = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}"
                     for k, v in sorted((query or {}).items()))
    sent = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    sent.update({k.lower(): v for k, v in (headers or {}).items()})
    names = ";".join(sorted(sent))
    canonical = "\n".join([method, encoded, pairs, *(f"{k}:{sent[k]}" for k in sorted(sent)), "",
                           names, payload])
    scope = f"{day}/us-east-1/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                         hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac256(key, part)
    signature = hmac256(key, to_sign).hex()
    sent["authorization"] = (f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, "
                             f"Signature={signature}")
    if body or method in ("PUT", "POST"):
        sent["content-length"] = str(len(body) if length is None else length)
    lines = [f"{method} {encoded}{'?' + pairs if pairs else ''} HTTP/1.1",
             *(f"{k}: {v}" for k, v in sent.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        piece = self.socket.recv(65536)
        self.buffer += piece
        return bool(piece)

    def answer(self, to_head=False):
        """The next answer; None when the connection was closed before one came."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        size = 0 if to_head else int(headers.get("content-length", 0))
        while len(self.buffer) < size:
            assert self._more(), "the body was cut"
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self):
        """The server closes within a few seconds."""
        self.socket.settimeout(5)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def ask(port, request):
    with Connection(port) as connection:
        connection.send(request)
        return connection.answer()
