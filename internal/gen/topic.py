
    # ---- Topics ----

    def _longer(self, data, most):
        """Is an encoded schema that of the topic, but with fields appended to its messages? They are in cells of the
        same size."""
        try:
            here, there = _Schema(_SCHEMA, False).type(), _Schema(data[1:], True).type()
            (*head, (name, at, cells)), (*other, (name2, at2, cells2)) = here[3], there[3]
            one, two = self._item_in(cells[3][1]), self._item_in(cells2[3][1])
        except (IndexError, TypeError, ValueError):
            return None
        same = (data[0] == 1 and here[2] == there[2] and head == other and (name, at) == (name2, at2)
                and (cells[0], cells[2], cells[3][0]) == (cells2[0], cells2[2], cells2[3][0]) == (_ARRAY, cells[2], _ITEMS))
        if not same or one[0] != _STRUCT or two[0] != _STRUCT or two[3][:len(one[3])] != one[3]:
            return None
        if any(off < one[2] for _, off, _ in two[3][len(one[3]):]):
            return None
        return there[2], ()

    @staticmethod
    def _item_in(cell):
        """The message in a cell: a struct with spare room behind it, or the cell itself."""
        kind, _, size, rest = cell
        if kind == _STRUCT and len(rest) == 1 and rest[0][:2] == (b"Value", 0) and rest[0][2][2] < size:
            return rest[0][2]
        return cell

    def store(self, value, timeout=5.0):
        """Raises TypeError: publishers order the words of a topic, not the box's lock."""
        raise TypeError("a topic cannot be stored: publish to it from Go, or by `shmem pump`")

    def update(self, timeout=5.0):
        """Raises TypeError, as store does."""
        self.store(None)

    def follow(self, start=None, copy=True, pause=0.001):
        """Yields pairs of number and message as they are published, from number start (None: the next one) until
        the topic ends. It takes no slot and no lock, and holds no publisher back: messages that were overwritten
        before they were read are counted in lost. It polls every pause seconds.

        With copy=False the message is a memoryview of shared memory, which publishers may overwrite meanwhile:
        what was read there counts if kept(number) is true afterwards.

        It raises FileNotFoundError if its owner closed it, if it was removed, and if no process is attached and
        none can attach any more."""
        self.lost = 0
        size, begin, view = VALUE.Items.size // _ITEMS, VALUE.Items.offset, memoryview(self._map)
        head = dict(VALUE._fields_)["Topic"]
        closed, tail = VALUE.Topic.offset + head.Closed.offset, VALUE.Topic.offset + head.Tail.offset
        pos = self._word(tail) if start is None else start
        looked = time.monotonic()
        while True:
            self._open_here()
            ended = self._word(closed)
            state, ahead, holder = self._topic_slot(pos)
            if ahead > 0:  # publishers are a round ahead, or more
                n = (ahead - 1) * _ITEMS + 1
                self.lost, pos = self.lost + n, pos + n
            elif ahead == 0 and state == 5:  # skipped: its publisher died
                pos += 1
            elif ahead == 0 and state == 1:
                at = begin + pos % _ITEMS * size
                place = view[at:at + ctypes.sizeof(_ITEM)]
                if copy:
                    place = _ITEM.from_buffer_copy(place)
                    if not self.kept(pos):
                        continue
                yield pos, place
                looked, pos = time.monotonic(), pos + 1
            elif ended and (ahead < 0 or state == 0):
                if ended == 2:  # the name was taken
                    raise FileNotFoundError(errno.ENOENT, "its owner closed it or it was removed; open it again", self.path)
                return
            else:
                time.sleep(pause)
                if time.monotonic() - looked < 1:
                    continue
                looked = time.monotonic()
                if ahead == 0 and state == 3 and not self._holds(holder):
                    pos += 1  # its publisher died
                elif self._abandoned():
                    raise FileNotFoundError(errno.ENOENT, "no process is attached, and none can attach any more", self.path)

    def _abandoned(self):
        """Is no process attached, and can none attach any more?"""
        return not self._held(_SLOT, self._count) and not (self._stays(self._word(self._head + _OWNER) >> 32) and self._same())

    def kept(self, number):
        """Is a message still there, not overwritten by a later one?"""
        _fence()
        return self._topic_slot(number)[:2] == (1, 0)

    def _word(self, at):
        return struct.unpack_from("@Q", self._map, at)[0]

    def _topic_slot(self, pos):
        """The state of a position's slot, how many rounds it is ahead of the position, and its holder."""
        word, bits, holder = self._word(VALUE.Slots.offset + pos % _ITEMS * 8), 61, 0
        _fence()
        state = word >> 61
        if state >= 3:
            word, bits, holder = word >> 31, 30, word & 0x7FFFFFFF
        ahead = (word - pos // _ITEMS) & ((1 << bits) - 1)
        return state, ahead - (1 << bits) if ahead >> (bits - 1) else ahead, holder

    def _holds(self, holder):
        """Does the attachment live that is writing the message?"""
        slot, gen = holder & 1023, holder >> 10
        return (slot < self._count and struct.unpack_from("=I", self._map, self._slot_off(slot))[0] == gen
                and (holder == self._id or self._held(_SLOT + slot, 1)))
