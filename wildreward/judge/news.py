"""What the judges of a run have to say, as its driver shows it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class News:
    """`waiting`: why one judge actor waits. Warnings and counters (see `OpenAIJudge.stats`) are of all of them."""

    waiting: str | None
    warnings: Mapping[str, int]
    stats: Mapping[str, float]

    def lines(self) -> list[str]:
        """What a run prints at its end about the requests of this session.

        >>> print(*News(None, {}, {"requests": 12, "answers": 10, "latency_s": 1.0, "retries_timeout": 2}).lines())
        judge: 12 requests, 10 answered, 100 ms each, tried again after timeout: 2
        """
        stats = self.stats
        each_s = stats.get("latency_s", 0) / max(1, stats.get("answers", 0))
        parts = [f"{stats.get('requests', 0):,} requests", f"{stats.get('answers', 0):,} answered"]
        parts.append(f"{1000 * each_s:.0f} ms each")
        reasons = {name.removeprefix("retries_"): n for name, n in sorted(stats.items()) if name.startswith("retries_")}
        parts += [f"tried again after {reason}: {count:,}" for reason, count in reasons.items() if count]
        if stats.get("reasks"):
            parts.append(f"asked again for want of a value: {stats['reasks']:,}")
        if stats.get("outage_s"):
            parts.append(f"waited {stats['outage_s']:.0f} s for a judge that did not answer")
        often = {message: f" ({count} times)" if count > 1 else "" for message, count in self.warnings.items()}
        return [f"judge: {', '.join(parts)}", *(f"judge: warning: {message}{n}" for message, n in often.items())]
