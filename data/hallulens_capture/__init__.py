"""Everything that knows HalluLens' captures: folders of headerless arrays and a log."""
