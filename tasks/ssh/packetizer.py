"""Extend paramiko's transport and packetizer in four ways; the packets stay the same (RFC 4253, 6; RFC 5647, 7).

- Received messages are counted, so that a dead connection can be detected.
- Small messages are acknowledged at once.
- A message on a channel that was closed before is dropped, because OpenSSH's server ends the connection for it.
- File content is sent in batches. Under AES-GCM the packets of a batch are encrypted into one buffer and sent with one
  call, whereas paramiko copies each packet several times.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

import paramiko
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from paramiko.message import Message
from paramiko.packet import Packetizer

BLOCK_BYTES = 16
TAG_BYTES = 16
BATCH_PACKETS = 16
PACKET_ROOM_BYTES = 64
"""The bytes of a packet's maximal size that paramiko reserves for everything but content."""

_OF_OPEN_CHANNELS = {MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_WINDOW_ADJUST}
_LENGTH, _DATA = struct.Struct(">I"), struct.Struct(">BBII")
"""The header fields: a packet's length; and, in a data packet, padding length, message kind, channel, data length."""


@dataclass(frozen=True)
class Batch:
    """Content for one channel, sent in packets of `piece_bytes`; the caller has reserved the window for all of it."""

    channel: int
    content: memoryview
    piece_bytes: int


class BatchTransport(paramiko.Transport):
    """A paramiko transport that can send batches."""

    packetizer: BatchPacketizer

    def __init__(self, link: socket.socket) -> None:
        super().__init__(link, packetizer_class=BatchPacketizer)

    def send_content(self, channel: paramiko.Channel, content: memoryview) -> int:
        """Send a part of `content` on a channel; return its length, which is 0 when the channel has ended.

        Raises:
            SSHException, EOFError, OSError: from paramiko.
        """
        if not self.packetizer.can_batch:
            return channel.send(content)  # type: ignore[arg-type]  # paramiko accepts any buffer
        piece_bytes = channel.out_max_packet_size - PACKET_ROOM_BYTES
        size = _reserve_window(channel, min(len(content), BATCH_PACKETS * piece_bytes))
        if size:
            batch = Batch(channel.remote_chanid, content[:size], piece_bytes)
            self._send_user_message(batch)  # type: ignore[attr-defined]  # as channels do: waits during a key exchange
        return size


def _reserve_window(channel: paramiko.Channel, wanted: int) -> int:
    """Wait until the channel's window has room, and reserve at most `wanted` bytes; return 0 if the channel ended."""
    with channel.lock:
        while not channel.out_window_size and not channel.closed:
            channel.out_buffer_cv.wait()  # closing the channel also wakes this
        if channel.closed or channel.eof_sent:
            return 0
        size = min(wanted, channel.out_window_size)
        channel.out_window_size -= size
        return size


class BatchPacketizer(Packetizer):
    """A packetizer that can encrypt and send batches; `received_messages` counts the messages from the server."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__(link)
        self._link = link
        self.received_messages = 0
        self._sealing = threading.Lock()
        self._cipher: AESGCM | None = None
        self._fixed, self._counter, self._sealed_bytes = b"", 0, 0
        self._buffer = memoryview(bytearray())
        self._closed_channels = set[int]()

    def read_message(self) -> tuple[int, Message]:
        """Read a message as paramiko does, and have it acknowledged at once.

        By default the kernel delays the acknowledgement by 40 ms, and OpenSSH's server sends its next small message
        only after it, so every command would take 40 ms.
        """
        message = super().read_message()
        self.received_messages += 1
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return message

    def set_outbound_cipher(self, *arguments: Any, **named: Any) -> None:
        """Store the cipher and the nonce if they are of AES-GCM; paramiko calls this after every key exchange."""
        super().set_outbound_cipher(*arguments, **named)
        with self._sealing:
            self._cipher = named["block_engine"] if named["aead"] else None
            self._sealed_bytes = 0
            if named["aead"]:
                self._fixed, self._counter = named["iv_out"][:4], int.from_bytes(named["iv_out"][4:], "big")

    @property
    def can_batch(self) -> bool:
        """Whether a `Batch` can be sent, which is only implemented for AES-GCM."""
        return self._cipher is not None

    def send_message(self, data: Message | Batch) -> None:
        """Send a message, or a batch of data messages.

        Raises:
            TypeError: a batch is sent under another cipher than AES-GCM.
            OSError, EOFError: the socket cannot be written, or was closed.
        """
        with self._sealing:
            if self._is_too_late(data):
                return
            if self._cipher is None:
                super().send_message(_not_a_batch(data))
                return
            sealed = self._batch(self._cipher, data) if isinstance(data, Batch) else self._single(self._cipher, data)
            self.write_all(sealed)
            self._count(len(sealed))

    def _is_too_late(self, data: Message | Batch) -> bool:
        """Tell whether the message's channel was closed after a thread had built the message.

        The server may reuse the number of a closed channel. A new channel begins with a request of ours or, in a
        tunnel, with our answer to the server's opening.
        """
        kind, channel = (MSG_CHANNEL_DATA, data.channel) if isinstance(data, Batch) else _addressed(data)
        if kind == MSG_CHANNEL_CLOSE:
            self._closed_channels.add(channel)
        elif kind in (MSG_CHANNEL_REQUEST, MSG_CHANNEL_OPEN_SUCCESS):
            self._closed_channels.discard(channel)
        return kind in _OF_OPEN_CHANNELS and channel in self._closed_channels

    def _single(self, cipher: AESGCM, message: Message) -> memoryview:
        payload = message.asbytes()
        padding = _padding(len(payload))
        packet = self._room(_LENGTH.size + 1 + len(payload) + padding + TAG_BYTES)
        plain = bytes([padding]) + payload + os.urandom(padding)
        self._seal(cipher, plain, packet)
        return packet

    def _batch(self, cipher: AESGCM, batch: Batch) -> memoryview:
        size = batch.piece_bytes
        whole = _LENGTH.size + _DATA.size + size + _padding(_DATA.size - 1 + size) + TAG_BYTES
        pieces = range(0, len(batch.content), size)
        buffer = self._room(whole * len(pieces))
        plain = bytearray(whole)
        at = 0
        for start in pieces:
            content = batch.content[start : start + size]
            padding = _padding(_DATA.size - 1 + len(content))
            end = _DATA.size + len(content)
            _DATA.pack_into(plain, 0, padding, MSG_CHANNEL_DATA, batch.channel, len(content))
            plain[_DATA.size : end] = content
            length = _LENGTH.size + end + padding + TAG_BYTES
            self._seal(cipher, memoryview(plain)[: end + padding], buffer[at : at + length])
            at += length
        return buffer[:at]

    def _seal(self, cipher: AESGCM, plain: bytes | memoryview, packet: memoryview) -> None:
        """Write one packet: its length, which is authenticated but not encrypted, the encrypted rest, and the tag."""
        length = _LENGTH.pack(len(plain))
        packet[: _LENGTH.size] = length
        nonce = self._fixed + self._counter.to_bytes(8, "big")
        self._counter = (self._counter + 1) % 2**64
        cipher.encrypt_into(nonce, plain, length, packet[_LENGTH.size :])

    def _room(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        return self._buffer[:size]

    def _count(self, size: int) -> None:
        """Start a key exchange after the same number of bytes as paramiko."""
        self._sealed_bytes += size
        if self._sealed_bytes >= self.REKEY_BYTES and not self.need_rekey():
            self._trigger_rekey()  # type: ignore[attr-defined]  # meant for subclasses, but missing in the stubs


def _addressed(message: Message) -> tuple[int, int]:
    """Return a message's kind and, if it is a channel message, the number of its channel."""
    payload = message.asbytes()
    return payload[0], int.from_bytes(payload[1:5], "big")


def _not_a_batch(data: Message | Batch) -> Message:
    if isinstance(data, Batch):
        raise TypeError("a batch can only be sent under AES-GCM")
    return data


def _padding(payload_bytes: int) -> int:
    """Return a padding of 4 to 19 bytes that makes the encrypted part a whole number of blocks."""
    return BLOCK_BYTES + 3 - (payload_bytes + 4) % BLOCK_BYTES
