"""The worlds that come with the framework, each in a folder or file of its own."""
