"""The command line of a container's instance, out of the Pod's and the image's.

Kubernetes' rule has four cases: with neither ``command`` nor ``args`` the image's entrypoint and
cmd run; ``command`` goes in the place of both; ``args`` in the place of the cmd alone. What the
platform is given goes in the place of both, so that for the last case one has to know the image's
entrypoint.
"""

from __future__ import annotations

from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.mapping.environment import MOST_CHARACTERS, Environment, expand
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown
from kraftlet_trio.registry.objects import ImageConfig


def needs_image_config(container: Container) -> bool:
    """Whether the command line depends on the image's own."""
    return bool(container.args) and not container.command


def unknown_entrypoint(container: Container, why: str) -> ConfigurationWarning:
    """Said where the command line depends on an image's configuration that cannot be read."""
    return ConfigurationWarning(
        "UnknownEntrypoint",
        f"args of container {container.name} are taken for its whole command line, for the "
        f"entrypoint of image {shown(container.image)} cannot be read: {why}; set command as well",
    )


def command_line(
    container: Container, config: ImageConfig | None, environment: Environment
) -> tuple[str, ...] | None:
    """What the instance of *container* runs; None for what its image says.

    *config* is the image's where that is known: ``args`` without ``command`` then follow its
    entrypoint, and are the whole command line otherwise. ``$(VAR)`` is replaced in both.

    Raises:
        ConfigurationProblem: it is longer than ``MOST_CHARACTERS``.
    """
    if not container.command and not container.args:
        return None
    entrypoint = config.entrypoint if config and needs_image_config(container) else ()
    line = list(entrypoint)
    characters = sum(map(len, entrypoint))
    for text in (*container.command, *container.args):
        arg = expand(text, environment.variables)
        characters += len(arg)
        if characters > MOST_CHARACTERS:
            raise ConfigurationProblem(
                "ArgumentsTooLarge",
                f"command and args of container {container.name} have more than "
                f"{MOST_CHARACTERS} characters; shorten them",
            )
        line.append(arg)
    return tuple(line)
