"""IFStruct, a published suite of requests for JSON: its rows as prompts, and its checks."""
