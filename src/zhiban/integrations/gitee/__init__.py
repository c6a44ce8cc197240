"""Gitee as a tracker, reached with a token; https://gitee.com/api/v5/swagger."""
