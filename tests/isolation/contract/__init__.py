"""The contract of all isolations: cases as data, and the application in which they happen.

`isolations` lists the isolations under test. A case knows no schema: it has sessions, tenancies, the command line and
text whose names are unqualified.
"""
