from __future__ import annotations

import socket

import pytest

from drivers.wire.datagrams import AT_ONCE, Datagrams, sender_of


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    """(receiver on 127.0.0.1, sender on 127.0.0.5)."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for one, address in zip(made, ("127.0.0.1", "127.0.0.5"), strict=True):
        one.bind((address, 0))
    return made[0], made[1]


def test_many_datagrams_come_by_one_call_with_sender_and_length(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    room = Datagrams(100)
    assert room.receive(receiver) == 0  # nothing waits, and it does not either
    for size in (0, 1, 99, 100, 101, 5000):
        sender.sendto(bytes([size % 251]) * size, receiver.getsockname())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"x", receiver.getsockname())
        assert room.receive(receiver) == 7
    assert room.lengths[:7].tolist() == [0, 1, 99, 100, 101, 5000, 1]  # too long ones say how long they were
    assert room.senders[:7].tolist() == [sender_of("127.0.0.5")] * 6 + [sender_of("127.0.0.1")]
    assert bytes(room.datagram(2)) == bytes([99]) * 99
    assert len(room.datagram(5)) == 100
    for one in pair:
        one.close()


def test_more_than_there_is_room_for_stays_in_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    room = Datagrams(16)
    for number in range(AT_ONCE + 3):
        sender.sendto(bytes([number]), receiver.getsockname())
    assert room.receive(receiver) == AT_ONCE
    assert room.receive(receiver) == 3
    assert bytes(room.datagram(2)) == bytes([AT_ONCE + 2])
    receiver.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        room.receive(receiver)
    sender.close()
