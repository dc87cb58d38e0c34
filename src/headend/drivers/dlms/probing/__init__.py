"""Discovery of DLMS meters: who speaks it (sightings), and all that a meter shows to somebody without a password (`examine`).

What is sent, and how far it goes, so that no meter takes it for an attack:

- No password, no key and no proof is ever sent but those that the owner has given: AARQ, GET (READ), RLRQ, SNRM and DISC are
  all there is. Nothing is written and no method is invoked.
- LLS is never asked for. An AARQ that names it without a password is a password attempt to some meters. It is known from the
  association objects that the public client may read, or where the meter asks for authentication and recognises no other one.
- A mechanism of high level security can only be seen by an AARQ that names it and brings a challenge. That goes to a client
  that wants authentication and whose mechanism no association object has told; one name after the other only while the
  meter says that it does not recognise it, which begins nothing. The first challenge, or any other answer, is the last for
  that client. So at most one authentication is begun and left, and one client is asked so, unless the budget is made larger.
- Every association is released, every link of HDLC disconnected. One link is open at a time.
- What a meter does when it defends itself ends it all: it takes no connection any more, refuses a client that it let in before,
  says that it is busy, or falls silent.
"""
