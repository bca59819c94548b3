"""A group of commands that suggests one for a name that is none."""

from __future__ import annotations

import difflib

import click


class CommandGroup(click.Group):
    """A group whose error for an unknown command names the one that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; raises click.UsageError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            known = self.list_commands(ctx)
            close = difflib.get_close_matches(args[0].lower(), known, 1, 0.5)
            if not close or error.message.endswith("?"):
                raise
            raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from error
