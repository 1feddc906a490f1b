def check_password(environ, user, password):
    return (user, password) == ("alice", "secret")


def groups_for_user(environ, user):
    return ["staff"]
