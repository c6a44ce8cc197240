"""What forges have in common: how we call them, what their answers mean, and how our texts are found again there.

No integration by itself: those of GitHub, GitLab, Gitea and Gitee are built on it, and know nothing of each other.
"""
