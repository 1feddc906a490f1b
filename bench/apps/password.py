PASSWORDS = {"ann": "secret"}


def check_password(environ, user, password):
    return PASSWORDS.get(user) == password
