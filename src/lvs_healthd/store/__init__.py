"""etcd by its JSON gateway: requests and their answers, and following all keys below a prefix."""
