# perl.pl PORT: JSON::RPC speaks HTTP over TCP, and no batches.
use strict;
use warnings;
use JSON::RPC::Legacy::Client;

my $url = "http://127.0.0.1:$ARGV[0]/";
my $client = JSON::RPC::Legacy::Client->new;

sub ask {
	my ($method, $params) = @_;

	return $client->call($url, {jsonrpc => '2.0', id => 1,
	    method => $method, params => $params});
}

sub is_paused {
	return ask('get_runner_status', ['up'])->result->{queue}{paused};
}

my $names = ask('list_runners', []);
$names->is_success or die 'refused';
grep { $_ eq 'web' } @{$names->result} or die 'no web';

my $refused = ask('get_runner_status', {name => 'nobody'});
$refused->is_error or die 'not refused';
$refused->content->{error}{code} == -32010 or die 'another code';

defined $client->call($url, {jsonrpc => '2.0', method => 'pause_queue',
    params => ['up']}) and die 'a notification was answered';
$client->status_line =~ /^204 / or die $client->status_line;
1 until is_paused();
ask('resume_queue', ['up']);
