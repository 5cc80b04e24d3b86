"""The workloads that are compared."""

from dataclasses import dataclass

TEXT = 128


@dataclass(frozen=True)
class Workload:
    title: str
    clients: int
    rooms: int = 1
    senders: int = 0
    # Messages that a sender keeps on their way (closed loop) or, if 0, `rate` a second from all of them.
    window: int = 0
    rate: int = 0
    mode: str = "fanout"
    # Handshakes at a time, of a storm.
    concurrency: int = 32
    # Messages that are in each room from the start.
    history: int = 0
    # Repetitions past this tell nothing new, or take too long.
    most_repetitions: int = 100

    def arguments(self, seconds: float, size: int = TEXT) -> list[str]:
        common = [self.mode, "--clients", str(self.clients), "--rooms", str(self.rooms)]
        if self.mode == "idle":
            return [*common, "--hold", str(seconds)]
        if self.mode == "storm":
            return [*common, "--concurrency", str(self.concurrency)]
        loop = ["--window", str(self.window)] if self.window else ["--rate", str(self.rate)]
        return [*common, "--senders", str(self.senders), *loop, "--size", str(size),
                "--seconds", str(seconds), "--warmup", str(max(seconds / 4, 0.5))]

    def shape(self) -> str:
        if self.mode == "idle":
            return f"{self.clients:,} connections"
        if self.mode == "storm":
            rooms = f" of {counted(self.rooms, 'room')} of {self.history:,} messages" if self.history else ""
            return f"{self.clients:,} handshakes{rooms}, {self.concurrency:,} at a time"
        loop = f"window {self.window}" if self.window else f"{self.rate} messages a second"
        return f"{self.clients:,} clients, {counted(self.rooms, 'room')}, {counted(self.senders, 'sender')}, {loop}"


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


WORKLOADS = {
    "A": Workload("busy room", clients=100, senders=10, window=4),
    "B": Workload("big room", clients=1000, senders=10, window=1),
    "D": Workload("many rooms", clients=1000, rooms=100, senders=1000, window=1),
    "small": Workload("small rooms, all talk", clients=2000, rooms=400, senders=2000, window=1),
    "pairs": Workload("rooms of two, one talks", clients=2000, rooms=1000, senders=1000, window=1),
    "E": Workload("one talker", clients=100, senders=1, window=1),
    "F": Workload("ping-pong", clients=2, senders=1, window=1),
    "trickle": Workload("little talk in small rooms", clients=600, rooms=60, senders=60, rate=300),
    "open": Workload("small rooms at a fixed rate", clients=2000, rooms=400, senders=2000, rate=2000),
    "steady": Workload("steady talk in a big room", clients=1000, senders=10, rate=50),
    "storm": Workload("handshakes", clients=10_000, mode="storm"),
    "joins": Workload("joining long rooms", clients=500, rooms=2, mode="storm", concurrency=500, history=10_000),
    "idle": Workload("idle", clients=5000, mode="idle", most_repetitions=2),
}
