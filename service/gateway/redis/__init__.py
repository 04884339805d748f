"""The broker of several processes: channels in Redis or Valkey. Needs the extra ``redis``."""
