"""A scorer behind the score cache: what `evaluate` calls with all of its texts at once."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pipelines.scorers import placed, source_of
from pipelines.scoring import score_conversations
from wildreward import storage
from wildreward.cluster import stage_cluster
from wildreward.errors import WildrewardError
from wildreward.score_cache import ScoreCache
from wildreward.scorer import Conversation, Unscored, content_key
from wildreward.settings.evaluate import EvaluateSettings

if TYPE_CHECKING:
    from wildreward.reward_model import Score

CACHE = "score_cache"


class CachedScoring(ExitStack):
    """Scores conversations with the scorer of the settings. The cluster is connected to when it is first needed, and
    left when the block ends.
    """

    def __init__(self, settings: EvaluateSettings) -> None:
        """Raises UsageError for a scorer that cannot be."""
        super().__init__()
        self.settings, self.source = settings, source_of(settings)
        self.description: dict[str, Any] = {}
        self.scored = 0
        """Texts that were scored now, and not found in the cache."""
        self._connected = False

    def __call__(self, conversations: "Sequence[Conversation]") -> "Sequence[Score | Unscored]":
        """A result for every conversation, in order; all of them are different."""
        if self.settings.handle:
            self._connect()  # who is asked for its identity lives there
        identity = self.source.identity()
        cache = ScoreCache(self.settings.score_cache or storage.join(self.settings.output, CACHE), identity)
        keys = [content_key(messages) for messages in conversations]
        kept = cache.read(keys)
        if missing := kept.missing:
            self._connect()
            source, placement = placed(self.settings, self.source)
            asked = [keys[i] for i in missing]
            failed = score_conversations(asked, [conversations[i] for i in missing], source, placement, cache)
            kept = cache.read(keys, {i: failed[keys[i]] for i in missing if keys[i] in failed})
            if lost := kept.missing:
                raise WildrewardError(
                    f"{cache.folder}: {len(lost)} scores that other nodes wrote are not there; give --score-cache on a "
                    "filesystem that all nodes see"
                )
        self.scored = len(missing)
        self.description = cache.description() | {"identity": identity}
        return kept

    def _connect(self) -> None:
        if not self._connected:
            # Texts go to the scorers as objects, and what they say comes back through the cache.
            here_only = {"input"} | ({"output"} if self.settings.score_cache else set())
            self.enter_context(stage_cluster("evaluate", self.settings, here_only))
            self._connected = True
